"""What the two notes describe, row by row, and what carries each row here.

S is Karl Stratos, "Useful Facts About Latent-Variable Generative Models"; G is "On the
Gumbel-Softmax Trick for Inference of Discrete Variables". The facts of a row are counted from
``benchbed.facts.FACTS``, at least one for every row; everything else is named in ``ROWS``, and what
is named must exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One thing that a note describes.

    Attributes:
        what: in a few words.
        place: where it stands.
        objectives: made for it; each says so in its docstring.
        estimators: that are it, or that it is about.
        experiments: sweep files, ``experiments/NAME.yaml``, that measure it.
    """

    what: str
    place: str
    objectives: tuple[str, ...] = ()
    estimators: tuple[str, ...] = ()
    experiments: tuple[str, ...] = ()


MARGINAL = "S section 1, direct marginalization"
CRITICS = "S section 1, variational adversarial optimization"
BASELINES = (
    *("constant_baseline", "moving_average_baseline", "leave_one_out", "self_critical", "nvil"),
    *("muprop", "optimal_baseline_regression", "rebar", "relax", "lax", "delta_control_variate"),
    *("double_control_variates", "rodeo", "arm", "disarm", "arms", "ars", "arsm", "carms"),
    *("disarm_stick_breaking", "disarm_importance_weighted", "unordered_set", "sum_and_sample"),
    *("rao_blackwell_score_function", "antithetic_score_function"),
)

ROWS: Mapping[str, Row] = {
    "G1": Row("the mean of f(g(noise, phi)) is that of f(z): no density of z needed", "G eq. 1-3"),
    "G2": Row(
        "the reparameterized gradient, averaged over samples of the noise",
        "G eq. 4-5, S section 4",
        ("logistic_regression",),
        ("reparameterization",),
        ("reparameterization", "proof-laws"),
    ),
    "G3": Row(
        "reparameterized gradients vary less: for slow costs, and not for fast ones",
        "G section 1, last lines",
        ("normal_cosine",),
        ("reparameterization", "score_function"),
        ("reparameterization",),
    ),
    "G4": Row(
        "the Concrete law in place of bits, categories",
        "G abstract",
        (),
        ("gumbel_softmax",),
        ("temperature",),
    ),
    "S11": Row(
        "log p(x) by summing over the latents, where they are few",
        MARGINAL,
        ("log_marginal",),
        ("exact",),
    ),
    "S12": Row(
        "... where they are a sequence: the forward algorithm",
        MARGINAL,
        ("markov_chain", "hidden_markov"),
    ),
    "S13": Row(
        "... where they are a tree: the inside algorithm", MARGINAL, ("binary_tree", "pcfg")
    ),
    "S14": Row(
        "EM: the bound touches log p at the posterior, so its maximum only rises",
        "S section 1, variational optimization",
        ("expectation_maximization",),
    ),
    "S15": Row(
        "the best critic's NCE is 2 JSD - log 4", CRITICS, ("adversarial",), (), ("adversarial",)
    ),
    "S16": Row(
        "f-divergences and the Wasserstein distance from their best critics",
        CRITICS,
        ("adversarial",),
        (),
        ("adversarial",),
    ),
    "S21": Row("five forms of the ELBO", "S section 2", ("elbo",), (), ("elbo_forms",)),
    "S22": Row(
        "a bound on log p(x) with z from the model's own prior",
        "S section 2, footnote 2",
        ("prior_bound",),
        ("score_function",),
    ),
    "S23": Row(
        "rate against distortion, with the best prior",
        "S section 2, rate-distortion autoencoders",
        ("rate_distortion",),
        (),
        ("rate_distortion",),
    ),
    "S24": Row("a collapsed posterior tells nothing of x", "S section 2, footnote 3"),
    "S25": Row(
        "KL to a factorized prior = total correlation + KL of each coordinate; weights on them",
        "S section 2, disentanglement",
        ("elbo",),
    ),
    "S26": Row(
        "the multi-sample bound L_K: L_1 is the ELBO, rising to log p(x)",
        "S section 2.1",
        ("iwae", "rainforth"),
    ),
    "S27": Row(
        "L_K to be trained on: estimators of its gradient, signal and noise as K grows",
        "S section 2.1, last lines",
        ("iwae", "rainforth"),
        (
            "iwae_reparameterization",
            "vimco",
            "sticking_the_landing",
            "doubly_reparameterized",
            "reweighted_wake_sleep",
        ),
        ("signal_to_noise", "proof-bounds"),
    ),
    "S31": Row(
        "a mixture prior, with a label beside z in the posterior",
        "S section 3, mixture prior",
        ("mixture_prior",),
    ),
    "S32": Row(
        "a mixture of posteriors as prior, at data points or pseudo-inputs",
        "S section 3, mixture prior from the variational posterior",
        ("vamp_prior",),
    ),
    "S33": Row(
        "two latents, one drawn given the other",
        "S section 3, hierarchical prior",
        ("hierarchical_prior",),
    ),
    "S34": Row(
        "style and label as latents, learned from few labels",
        "S section 3, compartmentalized prior",
        ("compartmentalized",),
    ),
    "S35": Row(
        "z between y and x: a bound on log p(x | y)",
        "S section 3, conditional prior",
        ("conditional_prior",),
    ),
    "S41": Row(
        "STEP with a straight-through backward pass",
        "S section 4, deterministic operation",
        ("step",),
        ("step_straight_through", "straight_through"),
        ("quantized",),
    ),
    "S42": Row(
        "SNAP with a straight-through backward pass",
        "S section 4, eq. 1",
        ("snap",),
        ("snap_straight_through",),
        ("quantized",),
    ),
    "S43": Row(
        "the gradient by summing over the latents",
        "S section 4, direct marginalization",
        (),
        ("exact",),
        ("field",),
    ),
    "S44": Row(
        "the score-function estimator",
        "S section 4, score function estimator",
        (),
        ("score_function",),
        ("field",),
    ),
    "S45": Row(
        "control variates that lower its variance",
        "S section 4, below the three estimators",
        (),
        BASELINES,
        ("field", "proof-bits", "proof-categories", "proof-digits"),
    ),
    "S46": Row(
        "a cost that knows theta by another way than z: the direct term",
        "S section 4, footnote 4",
        ("digits_vae",),
        ("score_function", "exact"),
        ("proof-digits",),
    ),
    "S47": Row(
        "an isotropic Gaussian as mu + sigma eps",
        "S section 4, below the three estimators",
        ("logistic_regression",),
        ("reparameterization",),
        ("reparameterization", "proof-laws"),
    ),
    "S48": Row(
        "bits: straight-through costs O(d), the sum over all of them O(2^d)",
        "S section 4.1, Bernoulli variable",
        (),
        ("straight_through", "exact"),
        ("quick",),
    ),
    "S49": Row(
        "Gumbel-Softmax at a fixed or falling temperature; O(Kd) against O(K^d)",
        "S section 4.1, Gumbel-Softmax",
        (),
        ("gumbel_softmax", "exact"),
        ("temperature",),
    ),
    "S4A": Row(
        "straight-through Gumbel-Softmax",
        "S section 4.1, below point 2",
        (),
        ("straight_through_gumbel_softmax",),
        ("temperature",),
    ),
    "S4B": Row(
        "vector quantization, and how its codebook learns",
        "S section 4.1, vector quantization",
        ("quantized", "vector_quantized"),
        ("vq_straight_through",),
        ("quantized",),
    ),
    "S4C": Row(
        "a Gaussian drawn given a category: O(d) for a sample, O(Kd) for the sum",
        "S section 4.1, point 1",
        ("nested",),
    ),
    "SA1": Row("the Gumbel's CDF, PDF, mean, variance and median", "S appendix A"),
    "SA2": Row("Gumbels shifted and stretched; the difference of two is logistic", "S appendix A"),
    "SA3": Row("the largest of N exponentials tends to a Gumbel", "S appendix A"),
    "SA4": Row("the Gumbel-max trick", "S appendix A.1, theorem A.1"),
    "SA5": Row("softmax at a falling temperature tends to a corner", "S appendix A.1"),
    "SA6": Row("(1 - c/N)^N tends to exp(-c)", "S appendix A.1, lemma A.2"),
    "SA7": Row("the largest of N Normals or Gammas tends to a Gumbel; its median", "S appendix A"),
}
