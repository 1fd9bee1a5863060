namespace Gemma4Edge.Service.Mqtt;

/// <summary>The broker cannot be reached or started, or it refuses.</summary>
public sealed class BrokerUnavailableException(string broker, string reason, string hint, Exception? cause = null)
    : Exception($"MQTT broker {broker}: {reason.TrimEnd('.')}. {hint}", cause)
{
    /// <summary>Its URL.</summary>
    public string Broker { get; } = broker;

    /// <summary>The broker is there, but its rules stand in the way: waiting does not help.</summary>
    internal bool IsRefusal { get; init; }

    /// <summary>The broker had let the client in, and then closed the connection.</summary>
    internal bool IsBrokenOff { get; init; }
}
