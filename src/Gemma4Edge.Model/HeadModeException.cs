namespace Gemma4Edge.Model;

/// <summary>A model's LM head cannot be computed in the way that was asked for.</summary>
public sealed class HeadModeException(string message) : ArgumentException(message);
