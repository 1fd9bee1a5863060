namespace Gemma4Edge.Model;

/// <summary>A network cannot compute with the activations that were asked for.</summary>
public sealed class ActivationFormatException(string message) : ArgumentException(message);
