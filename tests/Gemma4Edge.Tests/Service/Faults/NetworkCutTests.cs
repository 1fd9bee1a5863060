using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Gemma4Edge.Tests.Service.Durability;

namespace Gemma4Edge.Tests.Service.Faults;

/// <summary>The network goes away and comes back: everything in a network namespace of its own, whose only interface is taken down. GEMMA4EDGE_SOAK_CUT is its length in seconds.</summary>
public sealed class NetworkCutTests
{
    private static readonly int s_seconds = int.Parse(Environment.GetEnvironmentVariable("GEMMA4EDGE_SOAK_CUT") ?? "3", CultureInfo.InvariantCulture);

    [Fact]
    public async Task Cut_LosesNothing()
    {
        Assert.SkipUnless(await RunAsync("unshare", "-n", "true") == 0, "no network namespace can be made here");
        string program = Path.Combine(AppContext.BaseDirectory, "Gemma4Edge.Tests");
        Assert.Equal(0, await RunAsync("unshare", "-n", "sh", "-c", $"ip link set lo up && exec '{program}' -noLogo -noColor -explicit only -showLiveOutput -method {typeof(NetworkCutTests).FullName}.{nameof(InsideOfItsNamespace)}"));
    }

    [Fact(Explicit = true)]
    public async Task InsideOfItsNamespace()
    {
        string state = Directory.CreateTempSubdirectory("gemma4edge-cut-").FullName;
        using var broker = new Mosquitto();
        using var node = NodeProcess.Start(broker.Port, 0, state, Path.Combine(state, "acts"));
        Outsider watcher = await Outsider.ConnectWhenUpAsync(broker.Port, "gemma4edge/kitchen/availability");
        await watcher.NextAsync("availability", text => text == "online");
        Outsider before = await Outsider.ReturnAsync(broker.Port, "outsider", Outsider.Reply);
        string[] sent = [.. Enumerable.Range(0, 8).Select(i => $"a{i}")];
        foreach (string id in sent)
        {
            await before.PublishAsync("request", $$"""{"id":"{{id}}","prompt":"{{(id == "a0" ? "wait" : "hi")}}","reply_to":"{{Outsider.Reply}}"}""");
        }

        Assert.Equal(0, await RunAsync("ip", "link", "set", "lo", "down"));
        await Task.Delay(TimeSpan.FromSeconds(s_seconds), TestContext.Current.CancellationToken);
        Assert.Equal(0, await RunAsync("ip", "link", "set", "lo", "up"));
        long back = Stopwatch.GetTimestamp();
        await using Outsider after = await Outsider.ReturnAsync(broker.Port, "outsider"); // the connection may be gone; its session is not
        await after.PublishAsync("cancel", """{"id":"a0"}""");
        HashSet<string> answered = [];
        while (answered.Count < sent.Length)
        {
            answered.Add((await after.NextJsonAsync(Outsider.Reply, patience: TimeSpan.FromMinutes(2))).GetProperty("id").GetString()!);
        }

        TestContext.Current.TestOutputHelper!.WriteLine(FormattableString.Invariant($"cut of {s_seconds} s: all {sent.Length} answered {Stopwatch.GetElapsedTime(back).TotalSeconds:F1} s after its end"));
        await after.PublishAsync("request", """{"id":"after","prompt":"hi"}""", Outsider.Reply);
        JsonElement done = await after.NextJsonAsync(Outsider.Reply, text => text.Contains("after", StringComparison.Ordinal));
        Assert.Equal("done", done.GetProperty("type").GetString());
        Directory.Delete(state, recursive: true);
    }

    private static async Task<int> RunAsync(string program, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true })!;
        Task<string> output = process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        foreach (string line in (await output).Split('\n').Where(line => line.Contains("OUTPUT", StringComparison.Ordinal) || line.Contains("FAIL", StringComparison.Ordinal)))
        {
            TestContext.Current.TestOutputHelper!.WriteLine(line);
        }

        return process.ExitCode;
    }
}
