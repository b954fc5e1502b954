//go:build !race

package parquet_test

const raced = false
