namespace Gemma4Edge.Service;

/// <summary>Section Store.</summary>
public sealed record StoreOptions
{
    /// <summary>Folder for what must survive the process: the requests that were let in. Default: <c>$STATE_DIRECTORY</c>, which systemd sets; null = nothing is kept.</summary>
    public string? State { get; init; }

    /// <summary>Most beginnings of prompts (system text and tools) whose keys and values are kept in the state directory; 0 = none.</summary>
    public int Prefixes { get; init; } = 4;

    /// <summary>Reads and checks the section.</summary>
    /// <exception cref="ConfigurationException">A key or a value is wrong.</exception>
    internal static StoreOptions Read(OptionReader reader) => Read(reader, Environment.GetEnvironmentVariable("STATE_DIRECTORY"));

    /// <summary>The same, with systemd's state directories.</summary>
    internal static StoreOptions Read(OptionReader reader, string? stateDirectories)
    {
        // systemd's own word comes first: the unit owns that folder; several are separated by colons
        string? given = stateDirectories?.Split(':')[0] is { Length: > 0 } folder ? folder : null;
        string? configured = reader.Text("State", null, "a folder, which is made where there is none", value => !File.Exists(value));
        int prefixes = reader.Whole("Prefixes", 4, 0, 64);
        reader.RefuseOthers();
        if (given is not null)
        {
            reader.Supersede("State", given, "systemd STATE_DIRECTORY");
        }

        return new StoreOptions { State = given ?? configured, Prefixes = prefixes };
    }
}
