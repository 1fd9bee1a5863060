using System.Net;

namespace Gemma4Edge.Service;

/// <summary>Section Http: the node's port for monitoring.</summary>
public sealed record HttpOptions
{
    /// <summary>Whether there is one.</summary>
    public bool Enabled { get; init; }

    /// <summary>Address and port it listens on: <c>127.0.0.1:8420</c>, <c>0.0.0.0:8420</c>, <c>[::1]:8420</c>.</summary>
    public string Listen { get; init; } = "127.0.0.1:8420";

    /// <summary>Reads and checks the section.</summary>
    /// <exception cref="ConfigurationException">A key or a value is wrong.</exception>
    internal static HttpOptions Read(OptionReader reader)
    {
        var http = new HttpOptions
        {
            Enabled = reader.Flag("Enabled", false),
            Listen = reader.Text("Listen", new HttpOptions().Listen, "ADDRESS:PORT, such as 127.0.0.1:8420 or 0.0.0.0:8420", IsEndPoint)!,
        };
        reader.RefuseOthers();
        return http;
    }

    private static bool IsEndPoint(string value) => IPEndPoint.TryParse(value, out IPEndPoint? endPoint) && endPoint.Port > 0;
}
