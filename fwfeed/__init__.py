"""fwfeed keeps a country's address set current inside firewalld, and proves that the kernel holds it."""

__version__ = "0.1.0"
