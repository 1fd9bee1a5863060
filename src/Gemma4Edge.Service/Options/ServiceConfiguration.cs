using Microsoft.Extensions.Configuration;

namespace Gemma4Edge.Service;

/// <summary>Collects the configuration from all places it may come from; what comes later wins.</summary>
public static class ServiceConfiguration
{
    /// <summary>Where configuration lies when nobody says otherwise.</summary>
    public const string DefaultFolder = "/etc/gemma4edge/conf.d";

    private const string EnvironmentPrefix = "GEMMA4EDGE__";

    /// <summary>appsettings.json of the working folder, then the *.json of <paramref name="path"/> in order of name, then the environment
    /// (GEMMA4EDGE__Section__Key), then <paramref name="overrides"/>.</summary>
    /// <param name="path">A file or a folder; null = <see cref="DefaultFolder"/>, if it exists.</param>
    /// <param name="overrides">From the command line: "Mqtt:Broker" and its value; null values are left out.</param>
    /// <exception cref="ConfigurationException">The path does not exist, or a file is not JSON.</exception>
    public static IConfigurationRoot Load(string? path, IEnumerable<KeyValuePair<string, string?>> overrides)
    {
        var builder = new ConfigurationBuilder();
        string workingFolderFile = Path.GetFullPath("appsettings.json");
        foreach (string file in (File.Exists(workingFolderFile) ? [workingFolderFile] : Array.Empty<string>()).Concat(FilesOf(path)))
        {
            builder.AddJsonFile(file, optional: false, reloadOnChange: false);
        }

        builder.AddEnvironmentVariables(EnvironmentPrefix);
        builder.AddInMemoryCollection(overrides.Where(pair => pair.Value is not null));
        try
        {
            return builder.Build();
        }
        catch (InvalidDataException e)
        {
            throw new ConfigurationException($"{e.Message} {e.InnerException?.Message}".TrimEnd(), e);
        }
        catch (IOException e)
        {
            throw new ConfigurationException($"A configuration file cannot be read: {e.Message}", e);
        }
    }

    private static string[] FilesOf(string? path)
    {
        string given = Path.GetFullPath(path ?? DefaultFolder);
        if (Directory.Exists(given))
        {
            string[] files = Directory.GetFiles(given, "*.json");
            Array.Sort(files, StringComparer.Ordinal);
            return files;
        }

        return File.Exists(given) ? [given]
            : path is null ? []
            : throw new ConfigurationException($"--config {path}: no such file or folder; expected a JSON file or a folder of *.json files.");
    }

    /// <summary>Where the value of <paramref name="key"/> came from, in a reader's words.</summary>
    internal static string SourceOf(IConfigurationRoot configuration, string key) =>
        configuration.Providers.LastOrDefault(provider => provider.TryGet(key, out _)) switch
        {
            FileConfigurationProvider file => file.Source.Path is { } name && file.Source.FileProvider?.GetFileInfo(name).PhysicalPath is { } full ? full : "a file",
            Microsoft.Extensions.Configuration.EnvironmentVariables.EnvironmentVariablesConfigurationProvider =>
                "environment " + EnvironmentPrefix + key.Replace(":", "__", StringComparison.Ordinal),
            _ => "command line",
        };
}
