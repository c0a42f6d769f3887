"""Claim: what the measures cost, in the bars of each row, and that it is no more than other libraries' way.

Every method is timed against its unit in rounds of the two, one after the other in alternating order; what
counts is the median over rounds of the ratio in a round. The unit is F+B, an ordinary forward and backward
pass of the same batch in the same mode, unless the row names another. A peer is timed if its result is ours
to 1e-3. That freed memory is kept, as in a search, holds for ours and for peers alike.

GN, GradSign and GSNR are timed twice: a batch's per-sample gradients alone, as the peers are, and by
`measure` over a pass, as a user calls them. Run it on an idle machine.

    python -m benchmarks.measures
"""
