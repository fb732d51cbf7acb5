// Package fleet follows thousands of businesses on several machines, on River.
package fleet
