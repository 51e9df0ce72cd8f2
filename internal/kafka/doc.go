// Package kafka is the only way to a broker: it turns a config.Cluster into
// franz-go clients, sends raw fetches and ordered raw produces, classifies the
// error codes of their answers and explains why a connection failed.
//
// Words: a cluster is one Kafka cluster with an alias; a link is one client,
// so one set of connections, on which lanes send raw requests; a verdict is
// what a lane does about an error code.
package kafka
