// Package telemetry holds what Atoll knows of a running application: log records, and the spans of requests.
//
// In this version spans live in a Ring in memory, of which the oldest is overwritten when it is full. Records
// are kept on disk by the driver logfile.
package telemetry
