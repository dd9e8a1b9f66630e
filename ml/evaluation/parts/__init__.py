"""What an evaluation of one bundle tells, part by part; `ml.evaluation.evaluate` asks for them."""
