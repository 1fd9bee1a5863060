using System.CommandLine;
using Gemma4Edge.Service;
using Gemma4Edge.Service.HomeAssistant;
using Gemma4Edge.Service.Mqtt;
using MQTTnet;
using MQTTnet.Protocol;

namespace Gemma4Edge.Cli.Verbs;

/// <summary><c>mqtt unregister</c>: takes the node away from Home Assistant.</summary>
internal static class MqttUnregister
{
    public static Command Create(Terminal terminal)
    {
        var verb = new Verb(
            "unregister",
            "Removes the node's device from Home Assistant, with all its entities",
            "gemma4edge mqtt unregister",
            "GEMMA4EDGE__Mqtt__Node=kitchen gemma4edge mqtt unregister --broker mqtt://192.168.1.10");
        verb.Notes = "Stop the service first, or set HomeAssistant:Enabled to false: a node that runs shows itself again when it or Home Assistant connects anew.";
        var flags = new MqttFlags(verb);
        verb.SetAction(async (parsed, _) =>
        {
            MqttOptions mqtt = flags.Read(parsed);
            string topic = DeviceDiscovery.TopicOf(flags.ReadHomeAssistant(parsed).Prefix, mqtt.Node);
            using IMqttClient client = new MqttClientFactory().CreateMqttClient();
            await BrokerConnection.ConnectAsync(
                client, mqtt.Address, BrokerConnection.Options(mqtt.Address, $"gemma4edge-{mqtt.Node}-unregister", mqtt.Credentials).Build(), terminal.Interrupted).ConfigureAwait(false);
            MqttClientPublishResult result = await client.PublishAsync(
                new MqttApplicationMessage { Topic = topic, Retain = true, QualityOfServiceLevel = MqttQualityOfServiceLevel.AtLeastOnce }, terminal.Interrupted).ConfigureAwait(false);
            await client.DisconnectAsync(new MqttClientDisconnectOptions(), terminal.Interrupted).ConfigureAwait(false);
            if (result.ReasonCode >= MqttClientPublishReasonCode.UnspecifiedError)
            {
                throw CommandException.Failed($"{mqtt.Address} refuses the empty message on {topic}: {result.ReasonCode}. Let the user write there.");
            }

            terminal.Error.WriteLine($"{topic} on {mqtt.Address} is empty: Home Assistant removes the device.");
            return ExitCode.Done;
        });
        return verb;
    }
}
