"""The claims of CERN-THESIS-2017-103, measured again on two cores within an hour."""
