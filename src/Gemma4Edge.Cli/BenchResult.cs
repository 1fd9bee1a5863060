using System.Text.Json;
using Gemma4Edge.Model;
using Gemma4Edge.Service.Telemetry;

namespace Gemma4Edge.Cli;

/// <summary>Speed of one prompt length.</summary>
internal readonly record struct PrefillRate(int Tokens, double TokensPerSecond);

/// <summary>Speed of decode with so many tokens in the cache.</summary>
internal readonly record struct DecodeRate(int Context, double TokensPerSecond);

/// <summary>What <c>bench</c> found. Keys and units are part of the product's contract.</summary>
internal sealed record BenchResult
{
    public required string Model { get; init; }

    public required string Format { get; init; }

    public required string Kernel { get; init; }

    public required int Threads { get; init; }

    public required string? Cpu { get; init; }

    /// <summary>10⁹ bytes per second.</summary>
    public required double ReadBandwidthGbps { get; init; }

    public required long FileBytes { get; init; }

    public required long BytesPerToken { get; init; }

    public required long PleBytes { get; init; }

    public required double LoadMs { get; init; }

    public required IReadOnlyList<PrefillRate> Prefill { get; init; }

    public required IReadOnlyList<DecodeRate> Decode { get; init; }

    public required DeviceReadings Memory { get; init; }

    public required long HeadLowerBytes { get; init; }

    /// <summary>What of the model this process had touched at the end.</summary>
    public required MappedResidency Resident { get; init; }

    /// <summary>How good the two-stage head's shortlists were; null = the head is full.</summary>
    public required WinnerRanks? WinnerRanks { get; init; }

    public void WriteTo(Utf8JsonWriter json)
    {
        json.WriteString("model", Model);
        json.WriteString("format", Format);
        json.WriteString("kernel", Kernel);
        json.WriteNumber("threads", Threads);
        if (Cpu is not null)
        {
            json.WriteString("cpu", Cpu);
        }

        json.WriteNumber("read_bandwidth_gbps", Math.Round(ReadBandwidthGbps, 3));
        json.WriteNumber("file_bytes", FileBytes);
        json.WriteNumber("bytes_per_token", BytesPerToken);
        json.WriteNumber("ple_bytes", PleBytes);
        json.WriteNumber("load_ms", Math.Round(LoadMs, 1));
        json.WriteStartArray("prefill");
        foreach (PrefillRate rate in Prefill)
        {
            json.WriteStartObject();
            json.WriteNumber("tokens", rate.Tokens);
            json.WriteNumber("tokens_per_second", Math.Round(rate.TokensPerSecond, 3));
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteStartArray("decode");
        foreach (DecodeRate rate in Decode)
        {
            json.WriteStartObject();
            json.WriteNumber("context", rate.Context);
            json.WriteNumber("tokens_per_second", Math.Round(rate.TokensPerSecond, 3));
            json.WriteNumber("gbps", Math.Round(Gbps(rate), 3));
            json.WriteNumber("percent_of_roof", Math.Round(PercentOfRoof(rate), 1));
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteStartObject("head");
        json.WriteString("mode", HeadModes.NameOf(WinnerRanks is null ? HeadMode.Full : HeadMode.TwoStage));
        if (WinnerRanks is { } ranks)
        {
            json.WriteNumber("shortlist", ranks.Shortlist);
            json.WriteNumber("tokens", ranks.Tokens);
            json.WriteNumber("winner_rank_p50", ranks.Median());
            json.WriteNumber("winner_rank_max", ranks.Max);
            json.WriteNumber("beyond_quarter_percent", Math.Round(100.0 * ranks.BeyondQuarter / ranks.Tokens, 3));
        }

        json.WriteEndObject();
        WriteBytes("ple_resident_bytes", Resident.PleBytes);
        WriteBytes("head_lower_bytes", HeadLowerBytes > 0 ? HeadLowerBytes : null);
        WriteBytes("head_lower_resident_bytes", Resident.HeadLowerBytes);
        WriteBytes("peak_rss_bytes", Memory.PeakRssBytes);
        WriteBytes("anonymous_bytes", Memory.RssAnonymousBytes);
        WriteBytes("file_backed_bytes", Memory.RssFileBytes);

        void WriteBytes(string key, long? bytes)
        {
            if (bytes is { } known)
            {
                json.WriteNumber(key, known);
            }
        }
    }

    public void WriteTo(Terminal terminal)
    {
        TextWriter output = terminal.Out;
        output.WriteLine(terminal.Bold($"{Model} ({Format}, {FileBytes / 1e6:F1} MB, loaded in {LoadMs:F0} ms)"));
        output.WriteLine($"{Cpu ?? "unknown CPU"}, {Threads} threads, kernel {Kernel}, reads {ReadBandwidthGbps:F1} GB/s; a decoded token reads {BytesPerToken / 1e6:F1} MB of weights");
        output.WriteLine();
        var table = new TextTable("measurement", "tokens/s", "GB/s", "% of roof");
        foreach (PrefillRate rate in Prefill)
        {
            table.Add($"prefill {rate.Tokens} tokens", $"{rate.TokensPerSecond:F1}", "", "");
        }

        foreach (DecodeRate rate in Decode)
        {
            table.Add($"decode at {rate.Context} tokens", $"{rate.TokensPerSecond:F1}", $"{Gbps(rate):F2}", $"{PercentOfRoof(rate):F0}");
        }

        table.Write(terminal);
        output.WriteLine();
        output.WriteLine($"memory: peak {Memory.PeakRssBytes / 1e6:F1} MB; now {Memory.RssAnonymousBytes / 1e6:F1} MB anonymous, {Memory.RssFileBytes / 1e6:F1} MB mapped from files");
        WriteResident("per-layer embeddings", Resident.PleBytes, PleBytes);
        WriteResident("lower plane of the head", Resident.HeadLowerBytes, HeadLowerBytes);
        if (WinnerRanks is { } ranks)
        {
            output.WriteLine($"two-stage head: in half of {ranks.Tokens} tokens the winner was among the first {ranks.Median()} of {ranks.Shortlist}, in all among the first {ranks.Max}");
        }

        void WriteResident(string what, long? resident, long all)
        {
            if (resident is { } known)
            {
                output.WriteLine($"{what}: {known / 1e6:F1} of {all / 1e6:F1} MB in memory");
            }
        }
    }

    private double Gbps(DecodeRate rate) => BytesPerToken * rate.TokensPerSecond / 1e9;

    private double PercentOfRoof(DecodeRate rate) => 100 * Gbps(rate) / ReadBandwidthGbps;
}
