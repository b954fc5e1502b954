package main

import "context"

func (b *bench) beside(context.Context) error { return nil }
