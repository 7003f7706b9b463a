"""`./dev bench`: what supervision costs and what a reload does, side by side with what else exists.

Every figure that is a ratio comes from rounds that took turns in the same run: the machine may be
shared and noisy, and what disturbs one round disturbs its neighbour as well.
"""
