"""One module per kind of page. Each view starts from `visible_to`: another's object answers 404."""
