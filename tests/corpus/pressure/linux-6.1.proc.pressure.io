some avg10=0.09 avg60=0.02 avg300=0.00 total=34442
full avg10=0.00 avg60=0.00 avg300=0.00 total=4607
