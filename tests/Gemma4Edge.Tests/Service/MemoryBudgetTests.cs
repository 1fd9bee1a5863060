using System.Text.Json;

namespace Gemma4Edge.Tests.Service;

public sealed class MemoryBudgetTests
{
    [Fact]
    public async Task ServiceWithFullConversations_OwnsLessThanItPlanned()
    {
        int port = Mosquitto.FreePort();
        using var serve = new ServeProcess(
            $$"""{"Mqtt":{"Node":"kitchen","Broker":"embedded","EmbeddedPort":{{port}} },"Model":{"MemoryBudget":"300MB"},"Telemetry":{"IntervalSeconds":1} }""");
        await using Outsider outsider = await ConnectAsync(port);
        JsonElement info = await outsider.NextJsonAsync("info");
        Assert.Equal(300_000_000, info.GetProperty("memory_budget_bytes").GetInt64());
        long own = info.GetProperty("memory_planned_bytes").GetInt64() - info.GetProperty("bytes_per_token").GetInt64();

        string prompt = string.Join(' ', Enumerable.Repeat("turn on the kitchen light", 150));
        for (int request = 0; request < 10; request++) // 8 conversations, one that goes for a new one, one without a name
        {
            string session = request == 9 ? "" : $"\"session\":\"s{request}\",";
            await outsider.PublishAsync("request", $$"""{"id":"a{{request}}",{{session}}"prompt":"{{prompt}}","max_tokens":8,"reply_to":"{{Outsider.Reply}}"}""");
            JsonElement done = (await outsider.EventsAsync())[^1];
            Assert.Equal("done", done.GetProperty("type").GetString());
            Assert.True(done.GetProperty("usage").GetProperty("input").GetInt32() > 700);
        }

        JsonElement telemetry = await outsider.NextJsonAsync("telemetry", text => text.Contains("\"requests_ok\":10", StringComparison.Ordinal));
        Assert.InRange(telemetry.GetProperty("rss_anonymous_bytes").GetInt64(), 1 << 20, own);
    }

    private static async Task<Outsider> ConnectAsync(int port)
    {
        while (true)
        {
            try
            {
                Outsider outsider = await Outsider.ConnectAsync(port, "gemma4edge/kitchen/info", "gemma4edge/kitchen/telemetry", Outsider.Reply);
                return outsider;
            }
            catch (MQTTnet.Exceptions.MqttCommunicationException)
            {
                await Task.Delay(50, TestContext.Current.CancellationToken);
            }
        }
    }
}
