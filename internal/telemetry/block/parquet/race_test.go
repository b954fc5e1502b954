//go:build race

package parquet_test

const raced = true // with the race detector sync.Pool, which zstd uses, drops things at random
