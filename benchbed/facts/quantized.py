"""STEP, SNAP and vector quantization of noisy inputs: rows S41, S42 and S4B.

The notes' operations are deterministic and have derivative 0 almost everywhere. With Gaussian noise
on the input, x = f + sigma eps, the chance of every outcome is smooth in f and E[J] has a gradient.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.special import ndtr
from scipy.stats import norm

from benchbed.facts import _codes_with_noise as codes
from benchbed.facts import _noisy_inputs as noisy
from benchbed.facts.fact import Fact
from benchbed.families.learned_codebook import log_masses, split
from benchbed.families.quantized import quantized
from benchbed.families.snap import snap
from benchbed.families.step import step

FACTS: tuple[Fact, ...] = (
    Fact(
        row="S41",
        name="chance of a noisy threshold",
        statement="P(STEP(f + sigma eps) = 1) = Phi(f / sigma)",
        place="S section 4, STEP",
        left=lambda: [noisy.half_line(f, lambda _: 1.0) for f in noisy.BITS],
        right=lambda: step(noisy.SIGMA).mean(torch.from_numpy(noisy.BITS)).numpy(),
    ),
    Fact(
        row="S41",
        name="gradient through noisy thresholds",
        statement="d/df E[J(STEP(f + sigma eps))] = E[J(STEP(f + sigma eps)) eps / sigma], by "
        "quadrature in eps = d/df sum_z P(z) J(z)",
        place="S section 4, STEP",
        left=noisy.step_gradient,
        right=lambda: noisy.step_problem().exact_gradient().numpy(),
    ),
    Fact(
        row="S41",
        name="what straight-through leaves out at a threshold",
        statement="multilinear J: E[dJ/dz] phi(f / sigma) / sigma = d/df E[J(STEP(f + sigma eps))]",
        place="S section 4, STEP in the backward pass",
        left=lambda: (
            noisy.straight_through(noisy.step_problem())
            * norm.pdf(noisy.BITS / noisy.SIGMA)
            / noisy.SIGMA
        ),
        right=noisy.step_gradient,
    ),
    Fact(
        row="S42",
        name="chance of a noisy arg-max",
        statement="P(argmax f + sigma eps = k) = P(U < h, V < k), U and V of correlation 1/2",
        place="S section 4, SNAP",
        left=lambda: snap(noisy.SIGMA).mean(torch.from_numpy(noisy.THREE)[None]).numpy()[0],
        right=noisy.snap_chances,
    ),
    Fact(
        row="S42",
        name="a noisy arg-max of two",
        statement="P(f_1 + sigma eps_1 > f_2 + sigma eps_2) = Phi((f_1 - f_2) / (sigma sqrt 2))",
        place="S section 4, SNAP",
        left=lambda: snap(noisy.SIGMA).mean(torch.from_numpy(noisy.THREE[:2])[None]).numpy()[0],
        right=lambda: ndtr(np.array([0.7, -0.7]) / (noisy.SIGMA * math.sqrt(2))),
    ),
    Fact(
        row="S42",
        name="gradient through a noisy arg-max",
        statement="d/df E[J(SNAP(f + sigma eps))] = sum_k J(e_k) d P(U < h_k, V < k_k) / df",
        place="S section 4, SNAP",
        left=lambda: (
            noisy.small_snap().exact_gradient(torch.from_numpy(noisy.THREE)[None]).numpy()[0]
        ),
        right=noisy.snap_by_correlation,
    ),
    Fact(
        row="S42",
        name="mean of straight-through at an arg-max",
        statement="SNAP(u) = u in the backward pass: E[dJ/dz], a_k + 2 b_k P(k) for a z + b z^2",
        place="S section 4, eq. 1",
        left=lambda: noisy.straight_through(noisy.snap_problem()),
        right=lambda: noisy.SLOPES + 2 * noisy.BENDS * noisy.snap_chances(),
    ),
    Fact(
        row="S4B",
        name="mass of a code's cell",
        statement="P(nearest code to f + sigma eps = i) = Phi(h_i) - Phi(l_i) = the integral of "
        "the density over where C_i is the nearest",
        place="S section 4.1, vector quantization",
        left=codes.masses,
        right=lambda: log_masses(*split(codes.point(), 1, 1), codes.SIGMA).exp().numpy()[0, 0],
    ),
    Fact(
        row="S4B",
        name="mean of a quantized output",
        statement="E[C_i*] = sum_i C_i P(i)",
        place="S section 4.1, vector quantization",
        left=lambda: [[codes.masses() @ codes.CODES]],
        right=lambda: (
            quantized(torch.from_numpy(codes.CODES), codes.SIGMA)
            .mean(torch.full((1, 1), codes.OUTPUT, dtype=torch.float64))
            .numpy()
        ),
    ),
    Fact(
        row="S4B",
        name="gradient by the encoder and the codebook",
        statement="d E[J] = E[J eps / sigma] to f; to C the slopes of J, and half the density at "
        "each boundary times the step of J there",
        place="S section 4.1, vector quantization",
        left=lambda: codes.quantizer().exact_gradient(codes.point()).numpy(),
        right=codes.quantizer_gradient,
    ),
    Fact(
        row="S4B",
        name="a stopped gradient is a frozen constant",
        statement="detach in |sg f - C|^2 + beta |f - sg C|^2 gives the derivative of the function "
        "with f and C inside sg held at the point",
        place="S section 4.1, vector quantization, last line",
        left=codes.stopped,
        right=codes.frozen,
    ),
    Fact(
        row="S4B",
        name="mean of the published update",
        statement="E[J'(C_i) + 2 beta (f - C_i)] to f, 2 P(i) (C_i - f) to C_i",
        place="S section 4.1, vector quantization",
        left=lambda: noisy.straight_through(codes.published_problem()),
        right=codes.published_by_hand,
        slip="J(SNAP(u)) with u_i = -|f - C_i| is printed with the backward pass of eq. 1; but "
        "SNAP(u) is a one-hot of K entries, and taking it for f of d entries is possible only for "
        "the code it picks, C^T SNAP(u), which is what J reads",
    ),
)
