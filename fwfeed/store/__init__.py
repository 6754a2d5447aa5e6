"""Everything fwfeed keeps on disk, and how it gets there whole.

`files` replaces single files, `lock` keeps commands apart, `cache` has the registries' files, `candidates` the
candidate, `delegations` the database behind `lookup`, `generations` what was installed, and `templates` what is
rendered.
"""
