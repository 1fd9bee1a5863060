using System.Diagnostics.CodeAnalysis;
using System.Text.RegularExpressions;

namespace Gemma4Edge.Service;

/// <summary>One key as it is in force.</summary>
/// <param name="Key">Section and key: <c>Mqtt:Broker</c>.</param>
/// <param name="Json">Its value as a configuration file would have it, secrets masked; null = none, which leaves the choice to whoever uses it.</param>
/// <param name="Source">Where the value came from: <c>default</c>, a file, an environment variable, the command line.</param>
public sealed partial record OptionValue(string Key, string? Json, string Source)
{
    private const string Mask = "********";

    /// <summary>A value as it may be shown: what the key's name or an URL gives away as a secret is masked.</summary>
    [return: NotNullIfNotNull(nameof(value))]
    public static string? Shown(string key, string? value) =>
        value is null ? null : SecretKey().IsMatch(key) ? Mask : UserOfUrl().Replace(value, $"://{Mask}@");

    [GeneratedRegex("(password|passphrase|passwd|secret|token|apikey|credential)$", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex SecretKey();

    [GeneratedRegex("://[^/@]*@")]
    private static partial Regex UserOfUrl();
}
