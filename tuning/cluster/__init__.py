"""Ray: session, driver, workers, resources."""
