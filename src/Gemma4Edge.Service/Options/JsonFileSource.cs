using System.Text;
using System.Text.Json;
using Gemma4Edge.Model.Text;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Configuration.Json;

namespace Gemma4Edge.Service;

/// <summary>One configuration file; with or without a byte order mark. It is read when it is made.</summary>
/// <exception cref="ConfigurationException">The file cannot be read.</exception>
internal sealed class JsonFileSource(string path) : JsonStreamConfigurationSource
{
    private readonly byte[] _json = Read(path);

    /// <inheritdoc/>
    public override IConfigurationProvider Build(IConfigurationBuilder builder)
    {
        Stream = new MemoryStream(_json);
        return new Provider(this, path);
    }

    private static byte[] Read(string path)
    {
        try
        {
            return Encoding.UTF8.GetBytes(File.ReadAllText(path));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ConfigurationException($"{path}: the configuration file cannot be read: {e.Message} Let the user that runs this read it.", e);
        }
    }

    /// <summary>What a file holds, and which file it was.</summary>
    internal sealed class Provider(JsonFileSource source, string path) : JsonStreamConfigurationProvider(source)
    {
        public string Path { get; } = path;

        /// <exception cref="ConfigurationException">The file is not a JSON object.</exception>
        public override void Load(Stream stream)
        {
            try
            {
                base.Load(stream);
            }
            catch (Exception e) when (e is JsonException or FormatException or InvalidOperationException) // the last: a name that is no Unicode
            {
                throw new ConfigurationException($"{Path}: {JsonFault.Of(e.InnerException as JsonException ?? e)} Expected a JSON object of sections.", e);
            }
        }
    }
}
