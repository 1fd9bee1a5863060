using OpenTelemetry.Resources;

namespace Gemma4Edge.Service.Telemetry;

/// <summary>Whose figures these are, in OpenTelemetry's words: <c>service.name</c>, <c>service.version</c>, <c>service.instance.id</c>, <c>host.name</c>.</summary>
internal static class NodeResource
{
    private static readonly string[] s_names = ["host.name", "service.instance.id", "service.name", "service.version"];

    /// <summary>Adds them to what a builder has; what OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say goes before.</summary>
    public static ResourceBuilder AddNode(this ResourceBuilder resource, string node) => resource
        .AddService("gemma4edge", serviceVersion: NodeInfo.ProgramVersion, autoGenerateServiceInstanceId: false, serviceInstanceId: node)
        .AddAttributes([new("host.name", Environment.MachineName)])
        .AddEnvironmentVariableDetector();

    /// <summary>Names and values of the four, in the order of names.</summary>
    public static IReadOnlyList<KeyValuePair<string, string>> Attributes(string node)
    {
        Dictionary<string, object> all = ResourceBuilder.CreateEmpty().AddNode(node).Build().Attributes.ToDictionary();
        return [.. s_names.Select(name => new KeyValuePair<string, string>(name, $"{all[name]}"))];
    }
}
