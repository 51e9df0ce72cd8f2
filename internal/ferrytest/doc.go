// Package ferrytest is what tests on real brokers drive kferry with: the binary as a process of its own, its log, its exit
// code and its web page; writing that goes on beside a test; waiting without guessing how long.
package ferrytest
