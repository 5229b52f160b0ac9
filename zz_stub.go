package main

func (k keyConfig) given() bool { return false }
