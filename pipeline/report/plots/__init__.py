"""The plots of the report: matplotlib draws them, the page's style sheet colours them."""
