namespace Gemma4Edge.Model;

/// <summary>A network cannot keep its keys and values in the format that was asked for.</summary>
public sealed class KvFormatException(string message) : ArgumentException(message);
