namespace Gemma4Edge.Service;

/// <summary>A configuration that cannot be used. The message names the key, its value, where it came from and what is allowed.</summary>
public sealed class ConfigurationException(string message, Exception? cause = null) : Exception(message, cause);
