some avg10=0.00 avg60=0.00 avg300=0.00 total=12446
full avg10=0.00 avg60=0.00 avg300=0.00 total=2476
