"""`./dev bench`: what supervision costs and what a reload does, compared with the alternatives.

Every ratio comes from rounds that take turns in the same run. The machine may be shared and noisy,
and a disturbance of one round also disturbs the next.
"""
