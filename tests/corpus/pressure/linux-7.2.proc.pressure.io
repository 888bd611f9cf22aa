some avg10=0.08 avg60=0.02 avg300=0.00 total=27424
full avg10=0.00 avg60=0.00 avg300=0.00 total=2577
