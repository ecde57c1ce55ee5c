"""All that is measured of a borrowed accelerator, stage by stage."""
