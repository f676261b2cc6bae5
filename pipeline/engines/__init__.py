"""The two engines: Java, Ray, Spark, and one resource plan for all of them."""
