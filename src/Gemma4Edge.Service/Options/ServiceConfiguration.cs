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
    public static IConfigurationRoot Load(string? path, IEnumerable<KeyValuePair<string, string?>> overrides) => Load(path, overrides, workingFolder: "");

    /// <summary>The same, with another working folder.</summary>
    internal static IConfigurationRoot Load(string? path, IEnumerable<KeyValuePair<string, string?>> overrides, string workingFolder)
    {
        var builder = new ConfigurationBuilder();
        string settings = Path.Combine(workingFolder, "appsettings.json");
        string[] ofWorkingFolder = File.Exists(settings) ? [Path.GetFullPath(settings)] : [];
        foreach (string file in ofWorkingFolder.Concat(FilesOf(path)))
        {
            builder.Add(new JsonFileSource(file));
        }

        builder.AddEnvironmentVariables(EnvironmentPrefix);
        builder.AddInMemoryCollection(overrides.Where(pair => pair.Value is not null));
        return builder.Build();
    }

    private static string[] FilesOf(string? path)
    {
        string given = Path.GetFullPath(path ?? DefaultFolder);
        if (Directory.Exists(given))
        {
            try
            {
                string[] files = Directory.GetFiles(given, "*.json");
                Array.Sort(files, StringComparer.Ordinal);
                return files;
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw new ConfigurationException($"{given}: the configuration folder cannot be read: {e.Message} Let the user that runs this list it.", e);
            }
        }

        return File.Exists(given) ? [given]
            : path is null ? []
            : throw new ConfigurationException($"--config {path}: no such file or folder; expected a JSON file or a folder of *.json files.");
    }

    /// <summary>Where the value of <paramref name="key"/> came from, in a reader's words; a list came from where its items came from.</summary>
    internal static string SourceOf(IConfigurationRoot configuration, string key) =>
        configuration.Providers.LastOrDefault(provider => provider.TryGet(key, out _) || provider.GetChildKeys([], key).Any()) switch
        {
            null => "default",
            JsonFileSource.Provider file => file.Path,
            Microsoft.Extensions.Configuration.EnvironmentVariables.EnvironmentVariablesConfigurationProvider =>
                "environment " + EnvironmentPrefix + key.Replace(":", "__", StringComparison.Ordinal),
            _ => "command line",
        };
}
