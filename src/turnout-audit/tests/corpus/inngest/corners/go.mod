module shop.example

require github.com/inngest/inngestgo v0.11.0
// replace github.com/inngest/inngestgo => ../inngestgo
