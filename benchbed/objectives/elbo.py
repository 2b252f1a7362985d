"""The negative evidence lower bound in five forms, each term sampled or in closed form.

With x uniform on N images, q(z | x_n; params), the aggregate q_Z(z) = mean_n q(z | x_n), and the
means over images left out, the bound is

    em       log p(x) - KL(q || p(z | x))
    entropy  E[log p(x, z)] + H(q)
    vae      E[log p(x | z)] - KL(q || p)                    Kingma and Welling 2014 (1312.6114)
    dvae     E[log p(x | z)] - I(X, Z) - KL(q_Z || p)        Hoffman and Johnson 2016
    maxent   E[log p(x | z)] + H(q) - H(q_Z, p)

and E[log p(x | z)] - I(X, Z) - TC(q_Z) - sum_v KL(q_Zv || p_v) when dvae's last term is split into
the total correlation and a part for each variable (Chen et al. 2018, 1802.04942). With every term
sampled the integrands agree point by point: the five are ONE estimator, direct term included. What
is in closed form makes the difference. Weights on dvae's three terms give beta-VAE (all equal;
Higgins et al. 2017) and beta-TCVAE (the total correlation's alone). The released code of the latter
guesses q_Z from a minibatch, which is biased; here it is the mixture of ALL images, exactly, which
is why the cost couples them and has no item axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from benchbed.arguments import finite_number
from benchbed.contracts import Objective
from benchbed.errors import BadArgument, nearest
from benchbed.objectives._discrete_model import (
    Latents,
    discrete_model,
    encoder_point,
)
from benchbed.objectives._elbo_terms import Term, bound

Form = Literal["em", "entropy", "vae", "dvae", "maxent"]
# The NEGATIVE bound: the sign of each logarithm in each term.
RECONSTRUCTION = {"likelihood": -1}
FORMS: Mapping[str, Mapping[str, Mapping[str, int]]] = {
    "em": {
        "log_likelihood": {"evidence": -1},
        "posterior_kl": {"q": 1, "likelihood": -1, "prior": -1, "evidence": 1},
    },
    "entropy": {"joint": {"likelihood": -1, "prior": -1}, "entropy": {"q": 1}},
    "vae": {"reconstruction": RECONSTRUCTION, "kl": {"q": 1, "prior": -1}},
    "dvae": {
        "reconstruction": RECONSTRUCTION,
        "mutual_information": {"q": 1, "aggregate": -1},
        "marginal_kl": {"aggregate": 1, "prior": -1},
    },
    "maxent": {
        "reconstruction": RECONSTRUCTION,
        "entropy": {"q": 1},
        "cross_entropy": {"prior": -1},
    },
}
SPLIT = {  # of dvae's marginal_kl
    "total_correlation": {"aggregate": 1, "factors": -1},
    "dimension_wise": {"factors": 1, "prior": -1},
}
SAMPLED_BY_EXACT = ("reconstruction", "joint")  # what terms: exact leaves to sampling
CITATION = (
    "Kingma and Welling 2014; Hoffman and Johnson 2016; Higgins et al. 2017; Chen et al. 2018"
)


def elbo(
    form: Form = "vae",
    terms: str = "exact",
    latents: Latents = "bernoulli",
    data: int = 3,
    dimensions: int = 2,
    categories: int = 3,
    mutual_information: float = 1.0,
    total_correlation: float = 1.0,
    dimension_wise: float = 1.0,
    fit: float = 1.0,
    distance: float = 1.0,
    seed: int = 0,
) -> Objective:
    """Cost the negative ELBO in one of five forms, its terms sampled or exact, in nats an image.

    To be lowered. Params are the logits of every image's q, [data * dimensions] (or that by
    categories). A term in closed form is counted from its value at the point, so that it adds its
    gradient and nothing to what a score multiplies: E[J] is the negative ELBO itself with terms:
    sampled, and less a number otherwise. params are the same whatever the form and the terms, so
    ``elbo(terms="sampled", ...).exact_value(params)`` reads the negative ELBO of any. Rows S21 and
    S25 of benchbed.facts.coverage.

    Args:
        form: em, entropy, vae, dvae or maxent.
        terms: ``sampled``: every one; ``exact``: in closed form but for the reconstruction (form
            entropy: the joint), as VAEs are trained; ``all``: those, too, so that J does not
            depend on z; or the name of the one that is in closed form. em has log_likelihood,
            posterior_kl; entropy has joint, entropy; vae has reconstruction, kl; dvae has
            reconstruction, mutual_information, marginal_kl and its two parts total_correlation,
            dimension_wise; maxent has reconstruction, entropy, cross_entropy.
        latents: ``bernoulli`` or ``categorical``.
        data: number of images.
        dimensions: latent variables of an image.
        categories: of a categorical variable.
        mutual_information: weight of that term of form dvae; all three equal in form vae are the
            beta of beta-VAE.
        total_correlation: likewise; alone it is the beta of beta-TCVAE.
        dimension_wise: likewise.
        fit: of q: 0 is the prior for every image, 1 the product closest to its posterior; other
            values lie on the line through the logits of the two.
        distance: from there, as seeded normal steps of the logits of size distance / 2.
        seed: of the model, of the images and of the steps.
    """
    given = {
        "mutual_information": mutual_information,
        "total_correlation": total_correlation,
        "dimension_wise": dimension_wise,
    }
    chosen = terms_of("elbo", form, terms, given)
    model = discrete_model("elbo", latents, data, dimensions, categories, seed)
    return bound("elbo", model, chosen, encoder_point("elbo", model, fit, distance, seed), CITATION)


def terms_of(name: str, form: str, terms: str, weights: Mapping[str, float]) -> list[Term]:
    """Return the terms of a form, weighted, those in closed form marked; say what cannot be one.

    Args:
        name: of the objective.
        form: a key of FORMS.
        terms: sampled, exact, all, or the name of a term.
        weights: of mutual_information, total_correlation and dimension_wise.
    """
    if form not in FORMS:
        raise BadArgument(
            f"{name} has no form '{form}'{nearest(str(form), FORMS)}; "
            f"choose from {', '.join(FORMS)}"
        )
    parts = dict(FORMS[form])
    names = [*parts, *(SPLIT if form == "dvae" else ())]
    if terms not in ("sampled", "exact", "all", *names):
        raise BadArgument(
            f"{name} in form {form} has no term '{terms}'{nearest(str(terms), names)}; choose "
            f"terms from sampled, exact, all, {', '.join(names)}"
        )
    beta = {key: finite_number(name, key, weight) for key, weight in weights.items()}
    equal = len(set(beta.values())) == 1
    if form == "vae" and not equal:
        raise BadArgument(
            f"{name} in form vae has one KL term, got weights {_listed(beta)}; give all three the "
            "same one, or use form: dvae"
        )
    if form not in ("vae", "dvae") and set(beta.values()) != {1.0}:
        raise BadArgument(
            f"{name} in form {form} has no term to weight, got weights {_listed(beta)}; use form: "
            "dvae, or form: vae with all three equal"
        )
    if form == "vae":
        beta = {"kl": beta["mutual_information"]}
    elif form == "dvae":
        if beta["total_correlation"] == beta["dimension_wise"] and terms not in SPLIT:
            beta["marginal_kl"] = beta["total_correlation"]
        else:
            del parts["marginal_kl"]
            parts |= SPLIT
    found = []
    for key, signs in parts.items():
        weight = beta.get(key, 1.0)
        exact = (
            terms in (key, "all")
            or (terms == "exact" and key not in SAMPLED_BY_EXACT)
            or (terms == "marginal_kl" and key in SPLIT)
        )
        if weight != 0:
            found.append(Term(key, signs, weight, exact))
    return found


def _listed(weights: Mapping[str, float]) -> str:
    return ", ".join(f"{key}: {weight:g}" for key, weight in weights.items())
