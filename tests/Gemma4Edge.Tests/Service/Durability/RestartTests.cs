using System.Text;
using System.Text.Json;
using Gemma4Edge.Service;
using Gemma4Edge.Service.Durability;
using Gemma4Edge.Service.Mqtt;
using MQTTnet;

namespace Gemma4Edge.Tests.Service.Durability;

/// <summary>What became of the requests that were there when a node ended.</summary>
public sealed class RestartTests : IDisposable
{
    private readonly string _state = Directory.CreateTempSubdirectory("gemma4edge-state-").FullName;

    public void Dispose() => Directory.Delete(_state, recursive: true);

    [Fact]
    public async Task CleanStop_KeepsWhatRunsAndWaits_AndAnswersItAfterwards()
    {
        using var broker = new Mosquitto();
        await using Outsider outsider = await Outsider.ConnectAsync(broker.Port, Outsider.Reply, "gemma4edge/kitchen/state");
        await using (await StartAsync(broker))
        {
            await outsider.PublishAsync("request", $$"""{"id":"running","prompt":"wait","stream":true,"reply_to":"{{Outsider.Reply}}"}""");
            await outsider.PublishAsync("request", """{"id":"waiting","prompt":"hi"}""", Outsider.Reply, [1, 2, 3]);
            await outsider.NextAsync("state", text => text.StartsWith("""{"busy":true,"queue":1,""", StringComparison.Ordinal));
        }

        await using TestNode again = await StartAsync(broker);
        JsonElement start = await outsider.NextJsonAsync(Outsider.Reply, text => text.Contains("\"start\"", StringComparison.Ordinal) && text.Contains("restarted", StringComparison.Ordinal));
        Assert.Equal("""{"id":"running","seq":0,"type":"start","queue_ms":1.2,"prompt_tokens":12,"cached_tokens":4,"restarted":true}""", start.GetRawText());
        await outsider.PublishAsync("cancel", """{"id":"running"}""");
        Assert.Equal(("running", "cancelled"), Failure(await outsider.NextJsonAsync(Outsider.Reply, text => text.Contains("\"error\"", StringComparison.Ordinal))));
        MqttApplicationMessage reply = await outsider.NextAsync(Outsider.Reply);
        Assert.Equal([1, 2, 3], reply.CorrelationData);
        Assert.Equal("You said: hi", Outsider.Json(reply).GetProperty("text").GetString());
    }

    [Fact]
    public async Task Duplicates_AreKnownAfterARestart()
    {
        using var broker = new Mosquitto();
        await using Outsider outsider = await Outsider.ConnectAsync(broker.Port, Outsider.Reply);
        string first;
        await using (await StartAsync(broker))
        {
            await outsider.PublishAsync("request", """{"id":"a1","prompt":"hi"}""", Outsider.Reply, [1]);
            first = Outsider.Text(await outsider.NextAsync());
        }

        await using TestNode again = await StartAsync(broker);
        await outsider.PublishAsync("request", """{"id":"a1","prompt":"hi"}""", Outsider.Reply, [2]);
        MqttApplicationMessage second = await outsider.NextAsync();
        Assert.Equal(first, Outsider.Text(second));
        Assert.Equal([2], second.CorrelationData);
        await outsider.PublishAsync("request", """{"id":"a1","prompt":"ho"}""", Outsider.Reply);
        Assert.Equal(("a1", "bad_request"), Failure(await outsider.NextJsonAsync()));
        Assert.Empty(again.Model.Seen);
    }

    public static TheoryData<string, string?> Ends => new()
    {
        { "answered", null },
        { "cancelled", "cancelled" },
        { "acted", "interrupted" },
        { "acted, then cancelled", "cancelled" },
        { "pool", "interrupted" },
        { "started once", null },
        { "started twice", "internal" },
        { "another boot", "expired" },
        { "deadline over", "expired" },
        { "reply topic not allowed any more", "bad_request" },
    };

    /// <summary>A node that died left this in its journal.</summary>
    [Theory, MemberData(nameof(Ends))]
    public async Task AfterACrash_EveryRequestEndsAsItMust(string what, string? code)
    {
        using (var before = new RequestLedger(_state, TimeProvider.System, boot: what == "another boot" ? Guid.NewGuid() : null))
        {
            LedgerEntry entry = before.Receive("key", "a1", new InboundMessage("gemma4edge/kitchen/request", Encoding.UTF8.GetBytes(
                $$"""{"id":"a1","prompt":"hi","deadline_ms":{{(what == "deadline over" ? 1 : 100_000)}}}"""))
            {
                ResponseTopic = what.StartsWith("reply", StringComparison.Ordinal) ? "elsewhere/x" : Outsider.Reply,
                CorrelationData = [9, 0],
                Pool = what == "pool",
            });
            for (int i = 0; i < (what == "started once" ? 1 : what == "started twice" ? 2 : 0); i++)
            {
                before.Start(entry);
            }

            if (what.StartsWith("acted", StringComparison.Ordinal))
            {
                before.Act(entry);
            }

            if (what.EndsWith("cancelled", StringComparison.Ordinal))
            {
                before.Cancel("a1");
            }
        }

        await Task.Delay(5, TestContext.Current.CancellationToken);
        using var broker = new Mosquitto();
        await using Outsider outsider = await Outsider.ConnectAsync(broker.Port, Outsider.Reply, "gemma4edge/kitchen/response");
        await using (TestNode node = await StartAsync(broker))
        {
            MqttApplicationMessage reply = await outsider.NextAsync();
            Assert.Equal([9, 0], reply.CorrelationData);
            JsonElement final = Outsider.Json(reply);
            Assert.Equal("a1", final.GetProperty("id").GetString());
            Assert.Equal(code ?? "You said: hi", code is null ? final.GetProperty("text").GetString() : Failure(final).Code);
            Assert.Equal(what.StartsWith("acted", StringComparison.Ordinal), final.GetRawText().Contains("\"may_have_acted\":true", StringComparison.Ordinal));
            Assert.Equal(code is null ? 1 : 0, node.Model.Seen.Count);
        }

        await using (await StartAsync(broker)) // it ended once and for all
        {
            Assert.Empty(await outsider.DrainAsync());
        }
    }

    /// <summary>The final was made but the broker never answered for it: it goes out again.</summary>
    [Fact]
    public async Task FinalThatTheBrokerMayNotHave_IsPublishedAgain()
    {
        using (var before = new RequestLedger(_state, TimeProvider.System))
        {
            LedgerEntry entry = before.Receive("key", "a1", new InboundMessage("gemma4edge/kitchen/prompt/set", "hi"u8.ToArray()));
            before.Finish(entry, new StoredReply("gemma4edge/kitchen/answer", null, true, "the answer"u8.ToArray()));
        }

        using var broker = new Mosquitto();
        await using (await StartAsync(broker))
        {
            await using Outsider outsider = await Outsider.ConnectAsync(broker.Port, "gemma4edge/kitchen/answer");
            MqttApplicationMessage answer = await outsider.NextAsync();
            Assert.Equal("the answer", Outsider.Text(answer));
        }

        using var after = new RequestLedger(_state, TimeProvider.System);
        Assert.Empty(after.Open());
    }

    /// <summary>Its broker went with the node, and a client takes longer to come back than the node takes to answer.</summary>
    [Fact]
    public async Task EmbeddedBroker_KeepsAnAnswerForAReaderWhoIsOnItsWayBack()
    {
        int port = Mosquitto.FreePort();
        Func<ServiceOptions, ServiceOptions> there = options => options with { Mqtt = options.Mqtt with { EmbeddedPort = port }, Store = new StoreOptions { State = _state } };
        await using (await TestNode.StartAsync(change: there))
        {
            await using Outsider before = await Outsider.ConnectAsync(port, Outsider.Reply, "gemma4edge/kitchen/state");
            await before.PublishAsync("request", """{"id":"running","prompt":"wait"}""", Outsider.Reply);
            await before.PublishAsync("request", """{"id":"waiting","prompt":"hi"}""", Outsider.Reply, [1, 2]);
            await before.NextAsync("state", text => text.StartsWith("""{"busy":true,"queue":1,""", StringComparison.Ordinal));
        }

        await using TestNode again = await TestNode.StartAsync(change: there);
        await using (Outsider early = await Outsider.ConnectAsync(port, "gemma4edge/kitchen/state"))
        {
            await early.PublishAsync("cancel", """{"id":"running"}""");
            await early.NextAsync("state", text => text.StartsWith("""{"busy":false,""", StringComparison.Ordinal)); // all is answered, and nobody has heard it
        }

        await using Outsider after = await Outsider.ConnectAsync(port, Outsider.Reply);
        MqttApplicationMessage[] replies = [await after.NextAsync(Outsider.Reply), await after.NextAsync(Outsider.Reply)];
        Assert.Equal(["running", "waiting"], replies.Select(reply => Outsider.Json(reply).GetProperty("id").GetString()).Order());
        Assert.Equal([1, 2], Assert.Single(replies, reply => Outsider.Json(reply).GetProperty("type").GetString() == "done").CorrelationData);
        Assert.Empty(await after.DrainAsync());
    }

    /// <summary>The embedded broker answers its sender when the request is in the journal, not before.</summary>
    [Fact]
    public async Task EmbeddedBroker_AnswersWhenTheRequestIsKept()
    {
        await using TestNode node = await StartAsync(null);
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, Outsider.Reply);
        for (int i = 0; i < 20; i++)
        {
            await outsider.PublishAsync("request", $$"""{"id":"kept-{{i}}","prompt":"wait"}""", Outsider.Reply);
            Assert.Contains($"kept-{i}", await ReadJournalAsync(), StringComparison.Ordinal);
            await outsider.PublishAsync("cancel", "{}");
        }
    }

    [Fact]
    public async Task StateDirectory_IsMade_AndItsJournalIsForItsOwnerAlone()
    {
        string state = Path.Combine(_state, "new", "state");
        await using (await StartAsync(null, state))
        {
            Assert.Equal(0, Run("sh", "-c", $"[ $(stat -c %a '{Path.Combine(state, RequestLedger.FileName)}') = 600 ]"));
        }
    }

    [Fact]
    public async Task StateDirectoryOfAnotherNode_IsRefused()
    {
        await using TestNode node = await StartAsync(null);
        ConfigurationException refused = await Assert.ThrowsAsync<ConfigurationException>(() => StartAsync(null));
        Assert.Contains(_state, refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task FullDisk_IsSaid_AndCancelStillWorks()
    {
        string disk = Path.Combine(_state, "small");
        Directory.CreateDirectory(disk);
        Assert.SkipUnless(Run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk) == 0, "a small file system cannot be mounted here");
        try
        {
            await using TestNode node = await StartAsync(null, disk);
            await using Outsider outsider = await Outsider.ConnectAsync(node.Port, Outsider.Reply);
            await outsider.PublishAsync("request", """{"id":"running","prompt":"wait"}""", Outsider.Reply);
            File.WriteAllBytes(Path.Combine(disk, "filler"), new byte[48 << 10]);
            string large = new('x', 20_000);
            await outsider.PublishAsync("request", $$"""{"id":"large","prompt":"{{large}}"}""", Outsider.Reply);
            Assert.Equal(("large", "no_space"), Failure(await outsider.NextJsonAsync()));
            await outsider.PublishAsync("cancel", """{"id":"running"}""");
            Assert.Equal(("running", "cancelled"), Failure(await outsider.NextJsonAsync()));
            File.Delete(Path.Combine(disk, "filler"));
            await outsider.PublishAsync("request", $$"""{"id":"large","prompt":"{{large}}"}""", Outsider.Reply);
            Assert.Equal("done", (await outsider.NextJsonAsync()).GetProperty("type").GetString());
        }
        finally
        {
            Run("umount", disk);
        }
    }

    private static int Run(string program, params string[] arguments)
    {
        using var process = System.Diagnostics.Process.Start(program, arguments);
        process.WaitForExit();
        return process.ExitCode;
    }

    private static (string? Id, string? Code) Failure(JsonElement error) =>
        (error.GetProperty("id").GetString(), error.TryGetProperty("error", out JsonElement failure) ? failure.GetProperty("code").GetString() : error.GetRawText());

    private Task<TestNode> StartAsync(Mosquitto? broker, string? state = null) =>
        TestNode.StartAsync(broker, change: options => options with { Store = new StoreOptions { State = state ?? _state } });

    private async Task<string> ReadJournalAsync()
    {
        using var cat = System.Diagnostics.Process.Start(new System.Diagnostics.ProcessStartInfo("cat", [Path.Combine(_state, RequestLedger.FileName)]) { RedirectStandardOutput = true })!;
        return await cat.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken); // not File: the node's lock counts for this process, too
    }
}
