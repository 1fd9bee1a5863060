using System.Text.Json;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Cli;

/// <summary>The bundled demo model and the small home that belongs to it.</summary>
/// <param name="Model">Folder of the model.</param>
/// <param name="Tools">Folder of its tools.</param>
/// <param name="System">The system text that names its rooms.</param>
/// <param name="Prompts">What somebody who lives there says.</param>
internal sealed record DemoHome(string Model, string Tools, string System, IReadOnlyList<string> Prompts)
{
    /// <summary>Environment variable that names the model's folder.</summary>
    public const string EnvironmentVariable = "GEMMA4EDGE_DEMO_MODEL";

    /// <summary>Finds the model: where the environment says, else beside an installed program, else in a clone.</summary>
    /// <exception cref="CommandException">It is in none of these places.</exception>
    public static DemoHome Find()
    {
        string? given = Environment.GetEnvironmentVariable(EnvironmentVariable);
        string[] places = string.IsNullOrEmpty(given) ? [.. Places().Distinct()] : [given];
        string model = Array.Find(places, place => File.Exists(Path.Combine(place, "home.json"))) ?? throw CommandException.Failed(
            $"The demo model is in none of {string.Join(", ", places)}: set {EnvironmentVariable} to its folder.");
        string file = Path.Combine(model, "home.json");
        try
        {
            JsonElement home = JsonElement.Parse(File.ReadAllText(file));
            return new DemoHome(
                model,
                Path.Combine(model, "tools"),
                home.GetProperty("system").GetString()!,
                [.. home.GetProperty("prompts").EnumerateArray().Select(prompt => prompt.GetString()!)]);
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            throw CommandException.Failed($"{file}: {(e is JsonException ? $"{JsonFault.Of(e)} " : "")}Expected an object with system and prompts, as in the demo model's own home.json.");
        }
    }

    private static IEnumerable<string> Places()
    {
        string program = AppContext.BaseDirectory;
        yield return Path.Combine(program, "demo-model");
        yield return Path.GetFullPath(Path.Combine(program, "../share/gemma4edge/demo-model"));
        yield return "/usr/share/gemma4edge/demo-model";
        foreach (string start in (string[])[program, Environment.CurrentDirectory])
        {
            for (DirectoryInfo? folder = new(start); folder is not null; folder = folder.Parent)
            {
                yield return Path.Combine(folder.FullName, "deploy", "demo-model");
            }
        }
    }
}
