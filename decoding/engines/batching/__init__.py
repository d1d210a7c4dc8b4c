"""Many runs that share the forward passes of one network."""
