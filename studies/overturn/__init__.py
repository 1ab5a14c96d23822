"""Can others drive a detector lower than the adaptive tier did? Other means, in the same ball, on the same grid."""
