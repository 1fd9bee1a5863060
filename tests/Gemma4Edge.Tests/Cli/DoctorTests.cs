using System.Text.Json;
using Gemma4Edge.Service;
using Gemma4Edge.Service.Telemetry;
using Gemma4Edge.Tests.Service;

namespace Gemma4Edge.Tests.Cli;

public sealed class DoctorTests
{
    [Fact]
    public async Task HealthyMachine_HasEveryCheck_AndExits0()
    {
        using var pi = MadeMachine.RaspberryPi();
        using var config = new TempFile([$$"""{"Telemetry":{"SystemRoot":"{{pi.Root}}"},"Store":{"State":"{{pi.Root}}" } }"""]);
        CliResult result = await TestCli.RunAsync("doctor", "--config", config.Path, "--model", TestData.DemoModel, "--broker", "embedded", "--json");

        Dictionary<string, JsonElement> checks = Checks(result);
        Assert.Equal(["broker", "clock", "configuration", "gpio", "memory", "processor", "state", "temperature", "throttling"], checks.Keys.Order());
        Assert.All(checks.Values, check => Assert.Equal(["hint", "name", "status", "value"], check.EnumerateObject().Select(property => property.Name).Order()));
        Assert.Equal("61.2 °C", checks["temperature"].GetProperty("value").GetString());
        Assert.Equal("ok", checks["memory"].GetProperty("status").GetString());
    }

    [Fact]
    public async Task HotThrottledMachine_IsTold_WhatToDo()
    {
        using var pi = MadeMachine.RaspberryPi(throttled: "50005", celsius: 84);
        using var config = new TempFile([$$"""{"Telemetry":{"SystemRoot":"{{pi.Root}}" } }"""]);
        CliResult result = await TestCli.RunAsync("doctor", "--config", config.Path, "--model", TestData.DemoModel, "--json");

        Dictionary<string, JsonElement> checks = Checks(result);
        Assert.Equal(0, result.Code);
        Assert.Equal(("warning", "now: under_voltage, throttled"), (checks["throttling"].GetProperty("status").GetString(), checks["throttling"].GetProperty("value").GetString()));
        Assert.Contains("power supply", checks["throttling"].GetProperty("hint").GetString(), StringComparison.Ordinal);
        Assert.Equal("warning", checks["temperature"].GetProperty("status").GetString());
        Assert.Equal("warning", checks["state"].GetProperty("status").GetString());
    }

    [Fact]
    public async Task TooLittleMemory_AndNoBroker_AreErrors_AndExit1()
    {
        using var config = new TempFile([$$"""{"Model":{"MemoryBudget":"20MB"},"Mqtt":{"Broker":"mqtt://127.0.0.1:{{Mosquitto.FreePort()}}" } }"""]);
        CliResult result = await TestCli.RunAsync("doctor", "--config", config.Path, "--model", TestData.DemoModel, "--json");

        Assert.Equal(1, result.Code);
        Dictionary<string, JsonElement> checks = Checks(result);
        Assert.Equal("error", checks["memory"].GetProperty("status").GetString());
        Assert.Contains("20.00 MB", checks["memory"].GetProperty("hint").GetString(), StringComparison.Ordinal);
        Assert.Equal("error", checks["broker"].GetProperty("status").GetString());
    }

    [Theory]
    [InlineData("FOLDER/new/state", "ok|warning")]
    [InlineData("FOLDER/file/state", "error")]
    [InlineData("/proc/nothing/state", "error")]
    public async Task StateDirectory_IsTried_AndNotMade(string state, string status)
    {
        string folder = Directory.CreateTempSubdirectory().FullName;
        await File.WriteAllTextAsync(Path.Combine(folder, "file"), "", TestContext.Current.CancellationToken);
        using var config = new TempFile([$$"""{"Store":{"State":"{{state.Replace("FOLDER", folder, StringComparison.Ordinal)}}"} }"""]);
        CliResult result = await TestCli.RunAsync("doctor", "--config", config.Path, "--model", TestData.DemoModel, "--json");

        Dictionary<string, JsonElement> checks = Checks(result);
        Assert.Equal(9, checks.Count);
        Assert.Matches($"^({status})$", checks["state"].GetProperty("status").GetString());
        Assert.Equal(["file"], Directory.GetFileSystemEntries(folder).Select(Path.GetFileName));
        Directory.Delete(folder, recursive: true);
    }

    [Theory]
    [InlineData(2026, true, CheckStatus.Ok, "2026-11-24 12:00:00 UTC, synchronised")]
    [InlineData(2026, false, CheckStatus.Warning, "2026-11-24 12:00:00 UTC, not synchronised")]
    [InlineData(2026, null, CheckStatus.Warning, "2026-11-24 12:00:00 UTC, not known to be synchronised")]
    [InlineData(1970, true, CheckStatus.Error, "1970-11-24 12:00:00 UTC")]
    public void Clock_IsRightWhereATimeServiceKeepsIt(int year, bool? isSynchronised, CheckStatus status, string value)
    {
        DoctorCheck check = Doctor.Clock(new DateTimeOffset(year, 11, 24, 12, 0, 0, TimeSpan.Zero), isSynchronised);
        Assert.Equal((status, value, status == CheckStatus.Ok), (check.Status, check.Value, check.Hint.Length == 0));
    }

    /// <summary>systemd's own rule on the same system call, through another door: the python of the machine, where there is one.</summary>
    [Fact]
    public void KernelClock_TellsWhatTheKernelTells()
    {
        const string Ask = "import ctypes; t = (ctypes.c_long * 26)(); e = ctypes.CDLL(None).adjtimex(t); print('' if e < 0 else t[3] < 16000000)";
        Assert.SkipUnless(File.Exists("/usr/bin/python3"), "no python3");
        using var python = System.Diagnostics.Process.Start(new System.Diagnostics.ProcessStartInfo("/usr/bin/python3", ["-c", Ask]) { RedirectStandardOutput = true })!;
        Assert.Equal(python.StandardOutput.ReadToEnd().Trim(), $"{KernelClock.IsSynchronised()}");
    }

    [Fact]
    public async Task WrongConfiguration_IsAnErrorAmongTheOthers()
    {
        using var config = new TempFile(["""{"Model":{"MemoryBudget":"much"}}"""]);
        CliResult result = await TestCli.RunAsync("doctor", "--config", config.Path, "--model", TestData.DemoModel);

        Assert.Equal(1, result.Code);
        Assert.Matches("(?m)^error +configuration ", result.Output);
        Assert.Contains("Model:MemoryBudget", result.Output, StringComparison.Ordinal);
        Assert.Matches("(?m)^(ok|warning) +processor ", result.Output);
    }

    [Fact]
    public async Task Serve_WithoutEnoughMemory_Is5_WithTheNumbers()
    {
        using var config = new TempFile(["""{"Model":{"MemoryBudget":"20MB"}}"""]);
        CliResult result = await TestCli.RunAsync("serve", "--config", config.Path, "--model", TestData.DemoModel);

        Assert.Equal(5, result.Code);
        Assert.Contains("the memory budget is 20.00 MB", result.Error, StringComparison.Ordinal);
    }

    private static Dictionary<string, JsonElement> Checks(CliResult result) =>
        JsonElement.Parse(result.Output).GetProperty("checks").EnumerateArray().ToDictionary(check => check.GetProperty("name").GetString()!);
}
