"""Figures that papers publish, labelled as theirs."""
