"""The stages of a next-item model, each under the name that it has for a ranking one."""
