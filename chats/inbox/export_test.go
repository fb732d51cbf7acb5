package inbox

// Apply sets an option of an inbox that has not been run yet.
func (in *Inbox) Apply(option Option) error { return option(&in.config) }
