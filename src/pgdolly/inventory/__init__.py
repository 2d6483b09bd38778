"""The fleet as an Ansible inventory names it, with Pigsty's parameter names."""
