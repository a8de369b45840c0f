"""The claims of CERN-THESIS-2017-103, measured anew on two cores within an hour."""
