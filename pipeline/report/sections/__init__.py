"""The sections of the page: each takes the inputs and returns blocks, or says what is missing."""
