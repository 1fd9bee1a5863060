namespace Gemma4Edge.Service;

/// <summary>Section Tools.</summary>
public sealed record ToolsOptions
{
    /// <summary>A folder of *.json files or one file; null = no tools.</summary>
    public string? Path { get; init; }

    /// <summary>Reads and checks the section.</summary>
    /// <exception cref="ConfigurationException">A key or a value is wrong.</exception>
    internal static ToolsOptions Read(OptionReader reader)
    {
        var tools = new ToolsOptions { Path = reader.Text("Path", null, "a JSON file or a folder of *.json", value => File.Exists(value) || Directory.Exists(value)) };
        reader.RefuseOthers();
        return tools;
    }
}
